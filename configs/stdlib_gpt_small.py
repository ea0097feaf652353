"""A GPT a seventh the size of that in stdlib_gpt.py, on shorter texts: so quick that many runs are cheap.

    layup train --config=configs/stdlib_gpt_small.py:slowmo --workers=4

After the colon comes a name as in stdlib_gpt.py, which has everything else, learning rates too.

Source: as there. Hardware: any CPU with two cores.
Time: about 20 s of training for 4 workers on two cores.
Expected result: at least 0.4 of the bytes are foreseen by LayUp.
"""

from stdlib_gpt import get_config as stdlib_gpt


def get_config(method="layup"):
    config = stdlib_gpt(method)
    config.name = f"stdlib_gpt_small_{method}"
    config.model.options = {"depth": 2, "width": 64, "heads": 2}
    config.data.context = 64
    config.optimizer.warmup_steps = 50
    config.stop.steps = 300
    config.evaluation.target = 0.4
    return config
