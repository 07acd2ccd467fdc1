"""Running jobs, each in a process forked from a server that has imported torch and run nothing."""
