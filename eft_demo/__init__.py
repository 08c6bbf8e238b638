"""Emulated fine-tuning, shown token by token.

    log p~(y_t) = log p_large_base(y_t) + alpha * [log p_small_tuned(y_t) - log p_small_base(y_t)] - log Z_t

A large model behaves as if it had been fine-tuned, using a small model that really was (Mitchell et al. 2023,
arXiv 2310.12962). The rooms, each importing only from those before it:

    errors, settings -> recipe -> mixing, sampling -> trace -> families -> models -> engine -> atlas -> lab
    -> plots -> ui -> cli, app
"""

__version__ = "0.1.0"
