"""What npuctl keeps beside the inventory: run folders, the journal, the lock."""
