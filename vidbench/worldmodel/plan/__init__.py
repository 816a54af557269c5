"""Planning with a world model: search in imagined rooms, and the loop from words over imagined video to actions."""
