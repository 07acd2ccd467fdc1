"""Networks that turn pictures into features, plug-ins, one file each."""
