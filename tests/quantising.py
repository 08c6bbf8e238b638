"""What the library is asked for to quantise as we do."""

import torch
from transformers import BitsAndBytesConfig

BITS = {
    "int8": BitsAndBytesConfig(load_in_8bit=True),
    **{
        kind: BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
        for kind in ("nf4", "fp4")
    },
}  # fmt: skip
