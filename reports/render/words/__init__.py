"""Every sentence that a report says: facts in, words out. Nothing here decides anything."""
