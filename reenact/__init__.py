"""Real-time video reenactment: your expression on another face."""
