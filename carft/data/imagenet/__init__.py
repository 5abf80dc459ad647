"""ImageNet and its five suites."""
