"""Running jobs: each in a process of its own, forked from a server that has imported torch and run nothing."""
