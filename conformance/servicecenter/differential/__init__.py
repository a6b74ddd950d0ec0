"""The same traces of random operations asked of our ServiceCenter front and of the original, their answers compared.

`operations` makes the traces from a seed, `answering` runs one and takes out of the answers what a server chooses by
itself, `comparing` says which answers are the same and shrinks a trace that shows two that are not. Traces that found
something are kept in `traces/`, with what the original answered.
"""
