"""Views of a leaderboard."""
