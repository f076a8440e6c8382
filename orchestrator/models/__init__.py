"""Names and settings → language models. Who only reads names loads no agent library.

providers.py      who answers for models, and what has to be set to reach them
user_settings.py  `models.toml`: aliases, a default, stand-ins, limits, servers of one's own
choice.py         which model a run uses
prices.py         what models cost and how much they take, where that is known
patience.py       tries again what may go well the next time
too_long.py       servers that say in words of their own that they got more than they can take
service.py        models, built once and shared
"""
