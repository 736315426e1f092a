"""Attribution methods, one file a family."""
