BY_CASE = dict.fromkeys(range(1, 201))
