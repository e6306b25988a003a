"""The web side: /predict, the live page, health and metrics, served by a process of its own."""
