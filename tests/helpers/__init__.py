"""What several tests need: pictures, clips, little models and a Hub on loopback."""
