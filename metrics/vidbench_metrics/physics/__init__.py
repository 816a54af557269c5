"""Physical plausibility: moments that may be violations, and the learned layer that judges them."""
