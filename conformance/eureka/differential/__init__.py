"""The same traces of random operations asked of our Eureka front and of the original, and their answers compared.

`operations` makes the traces from a seed, `comparing` says which answers are the same and shrinks a trace that shows
two that are not. Traces that found something are kept in `traces/`, with what the original answered.
"""
