"""Figures, side by side with others in one run. Knows servers by URL; imports nothing from facade. Start at
`compare.py`.
"""
