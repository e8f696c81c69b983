"""The tools that are measured, each as commands with a proof that they did what they should."""
