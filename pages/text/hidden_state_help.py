"""Words of Text / Inside the RNN: the text to begin with, and how its figures come about."""

from __future__ import annotations

import streamlit as st

EXAMPLE = """ROMEO:
She said to me: 'Come not before the bell,
For all my father's men keep watch till dawn.'
What shall I do? O, speak, and counsel me.

FRIAR LAURENCE:
Go home, young man; and when the night is old
Say to her nurse: 'He waits beside the wall.'

ROMEO:
And if the nurse should answer: 'She is gone,
Her father took her southward to the sea,'
Then am I lost, and all my hope with me.

FRIAR LAURENCE:
Too quick to weep, too slow to hear me speak!
I tell thee, when the lark begins to sing
Thy lady comes, and with her comes a ring.
She wrote it here: 'Good father, bid him stay,
And I will come before the end of day.'

ROMEO:
O blessed words! Then let the morning rise,
And let me find my fortune in her eyes.
"""


def how_it_works() -> None:
    with st.expander("How this works", icon=":material/school:"):
        st.markdown(
            "**State.** A recurrent network reads character by character and carries all that it remembers in a vector: "
            "$h_t = f(W_{xh} x_t + W_{hh} h_{t-1} + b)$, with $f = \\tanh$ in the plain RNN. Each of its entries is a unit, "
            "each row of the heatmap one unit. Most mix many things; a few can be read: inside a quote, how long the line is "
            "already ([Karpathy et al. 2015](https://arxiv.org/abs/1506.02078)). $r$ is Pearson's correlation of a unit "
            "with what is counted in the text; it shows that a unit follows something, not that the network uses it.\n\n"
            "**Vanishing gradients.** The loss at character $T$ reaches back to character $T-k$ through a product of "
            "Jacobians, $\\frac{\\partial L_T}{\\partial s_{T-k}} = \\frac{\\partial L_T}{\\partial s_T} "
            "\\prod_{i=T-k+1}^{T} \\frac{\\partial s_i}{\\partial s_{i-1}}$, in the RNN of "
            "$\\mathrm{diag}(f') \\, W_{hh}$ each: it shrinks or grows exponentially "
            "([Bengio et al. 1994](https://doi.org/10.1109/72.279181); "
            "[Pascanu et al. 2013](https://arxiv.org/abs/1211.5063)). What has no gradient is not learned, however "
            "often it occurs.\n\n"
            "**The LSTM's way out.** Its state is $s_t = (h_t, c_t)$, and along $c_t = f_t \\odot c_{t-1} + i_t \\odot g_t$ "
            "the Jacobian is the forget gate $f_t$ alone: as long as it is open, what passes is hardly less "
            "([Hochreiter & Schmidhuber 1997](https://doi.org/10.1162/neco.1997.9.8.1735); forget gate: "
            "[Gers et al. 2000](https://doi.org/10.1162/089976600300015015)).\n\n"
            "**The curves** are norms of the gradient by all that a network carries from one character to the next, in every "
            "layer: $h$, and in the LSTM $c$ too. They are means over up to 16 characters $T$ of the text, divided by the "
            "norm at $T$ itself. $c$ has its own scale, so compare how the curves fall, not a constant distance."
        )
