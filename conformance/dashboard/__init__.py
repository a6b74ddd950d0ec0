"""The pages for people in a real browser: Debian's Chromium, driven by playwright. No server but ours has them."""
