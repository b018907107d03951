"""What stands behind the routes of openai_api.py: one module per noun, floors in design order."""
