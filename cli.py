"""The command line: ``python cli.py COMMAND``, the same as ``carft COMMAND`` where carft is installed."""

from carft_cli.app import main

if __name__ == "__main__":
    main()
