"""What makes mnist-vae learn fast: variants of it in JAX, compared by -ELBO on validation images.

    path/to/venv/bin/python benches/vae_variants.py act=relu act=silu maps=both,learning_rate=5e-3

Needs `jax numpy`. Each argument is a variant: settings with commas between; what it does not say is as in BASE.
The test images are not read.
"""

import gzip, math, sys, time
from functools import partial

import jax, jax.numpy as jnp, numpy as np

BASE = dict(
    encoder="512+384", decoder="384+512",  # units of the dense layers but for the last ones
    maps="none",  # convolutions: "none", in the "encoder", in the "decoder", in "both"
    act="relu", layer_norm=0, skip=0,  # skip: layers of the same size are added to what they take
    latent=40, batch=64, learning_rate=3e-3, epochs=4, warmup=0.1,
    draws=1,  # codes drawn for each image
    kl_epochs=0, kl_start=1.0,  # the divergence's weight rises from kl_start to 1 in so many epochs
    average=0.0,  # decay of a moving average of the weights
    bias=0,  # the decoder's last bias begins as the logits of the pixels' means
    seed=0,
)
ACT = dict(relu=jax.nn.relu, tanh=jnp.tanh, silu=jax.nn.silu, elu=jax.nn.elu)
FIRST, SECOND = 16, 32  # channels


def images():
    "58,000 training and 2,000 validation images, 0 to 255."
    data = gzip.open("data/mnist/train-images-idx3-ubyte.gz").read()
    data = np.frombuffer(data, np.uint8, offset=16).reshape(-1, 784)
    data = data[np.random.default_rng(123).permutation(len(data))]
    return data[2000:], data[:2000]


def run(variant):
    unknown = variant.keys() - BASE.keys()
    assert not unknown, f"no settings: {unknown}"
    s = type("Settings", (), BASE | {key: type(BASE[key])(value) for key, value in variant.items()})
    train, held_out = images()
    act, latent, rng = ACT[s.act], s.latent, np.random.default_rng(s.seed)

    def uniform(limit, *shape):
        return jnp.asarray(rng.uniform(-limit, limit, shape), jnp.float32)

    def dense(*sizes):
        norm = lambda b: dict(g=jnp.ones(b), o=jnp.zeros(b)) if s.layer_norm else {}
        layer = lambda a, b: dict(w=uniform(math.sqrt(6 / (a + b)), a, b), b=jnp.zeros(b), **norm(b))
        return [layer(a, b) for a, b in zip(sizes, sizes[1:])]

    def apply(layers, x):
        for p in layers[:-1]:
            y = x @ p["w"] + p["b"]
            if s.layer_norm:
                y = y - y.mean(-1, keepdims=True)
                y = y / jnp.sqrt((y * y).mean(-1, keepdims=True) + 1e-5) * p["g"] + p["o"]
            y = act(y)
            x = x + y if s.skip and x.shape == y.shape else y
        return x @ layers[-1]["w"] + layers[-1]["b"]

    def kernel(outputs, inputs):
        return dict(w=uniform(math.sqrt(6 / (9 * inputs)), outputs, inputs, 3, 3), b=jnp.zeros((outputs, 1, 1)))

    def conv(p, x, stride):
        dims = ("NCHW", "OIHW", "NCHW")
        return jax.lax.conv_general_dilated(x, p["w"], (stride,) * 2, [(1, 1)] * 2, dimension_numbers=dims) + p["b"]

    def shuffle(x):
        n, c, h, w = x.shape
        return x.reshape(n, c // 4, 2, 2, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, c // 4, 2 * h, 2 * w)

    hidden = lambda text: [int(units) for units in text.split("+")]
    down, up = s.maps in ("encoder", "both"), s.maps in ("decoder", "both")
    start = (SECOND * 49,) if down else (784,)
    end = (SECOND * 49,) if up else (784,)
    params = dict(
        encoder=dense(*start, *hidden(s.encoder), 2 * latent), decoder=dense(latent, *hidden(s.decoder), *end),
        down=[kernel(FIRST, 1), kernel(SECOND, FIRST)] if down else [],
        up=[kernel(4 * FIRST, SECOND), kernel(4, FIRST)] if up else [],
    )
    if s.bias:
        mean = np.clip(train.mean(0) / 255, 1e-3, 1 - 1e-3)
        params["decoder"][-1]["b"] = jnp.asarray(np.log(mean / (1 - mean)), jnp.float32)

    def encode(p, x):
        if down:
            x = x.reshape(-1, 1, 28, 28)
            x = act(conv(p["down"][1], act(conv(p["down"][0], x, 2)), 2)).reshape(len(x), -1)
        codes = apply(p["encoder"], x)
        return codes[:, :latent], codes[:, latent:]

    def decode(p, z):
        x = apply(p["decoder"], z)
        if up:
            x = shuffle(conv(p["up"][0], act(x).reshape(-1, SECOND, 7, 7), 1))
            x = shuffle(conv(p["up"][1], act(x), 1)).reshape(len(z), 784)
        return x

    def loss(p, x, noise, weight):
        mean, log_variance = encode(p, x)
        divergence = 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance).sum(-1)
        mean, log_variance, x = (jnp.repeat(a, len(noise) // len(x), 0) for a in (mean, log_variance, x))
        logits = decode(p, mean + jnp.exp(0.5 * log_variance) * noise)
        return (jax.nn.softplus(logits) - x * logits).sum(-1).mean() + weight * divergence.mean()

    def drawn(key, pixels):
        return (jax.random.uniform(key, pixels.shape) * 255 < pixels).astype(jnp.float32)

    @partial(jax.jit, donate_argnums=(0, 1, 2, 3))
    def step(p, first, second, average, pixels, key, t, rate, weight):
        for_pixels, for_codes = jax.random.split(key)
        noise = jax.random.normal(for_codes, (len(pixels) * s.draws, latent))
        g = jax.grad(loss)(p, drawn(for_pixels, pixels), noise, weight)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, g)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, g)
        move = lambda p, m, v: p - rate * m / (1 - 0.9**t) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)
        p = jax.tree.map(move, p, first, second)
        decay = jnp.minimum(s.average, (1 + t) / (10 + t))
        return p, first, second, jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, average, p)

    @jax.jit
    def likelihood(p, x, key):
        "-ln p(x) of each image, by 500 draws."
        mean, log_variance = encode(p, x)

        def weight(key):
            noise = jax.random.normal(key, mean.shape)
            z = mean + jnp.exp(0.5 * log_variance) * noise
            logits = decode(p, z)
            of_image = (x * logits - jax.nn.softplus(logits)).sum(-1)
            return of_image + 0.5 * (noise**2 - z**2 + log_variance).sum(-1)

        weights = jax.lax.map(weight, jax.random.split(key, 500))
        return math.log(500) - jax.scipy.special.logsumexp(weights, 0)

    zeros = lambda: jax.tree.map(jnp.zeros_like, params)
    size = sum(x.size for x in jax.tree.leaves(params))
    state = (params, zeros(), zeros(), jax.tree.map(jnp.array, params))
    steps, t, key, began = len(train) // s.batch, 0, jax.random.PRNGKey(s.seed), time.time()
    for epoch in range(s.epochs):
        order = rng.permutation(len(train))
        for at in range(steps):
            key, now = jax.random.split(key)
            part = t / (steps * s.epochs)
            rise, fall = part / s.warmup, 0.5 * (1 + math.cos(math.pi * (part - s.warmup) / (1 - s.warmup)))
            rate = s.learning_rate * (rise if part < s.warmup else fall)
            weight = min(1.0, s.kl_start + (1 - s.kl_start) * t / (s.kl_epochs * steps)) if s.kl_epochs else 1.0
            t += 1
            state = step(*state, train[order[at * s.batch :][: s.batch]], now, float(t), rate, weight)
    p = state[3] if s.average else state[0]
    for_pixels, for_codes, for_draws = jax.random.split(jax.random.PRNGKey(5), 3)
    x = drawn(for_pixels, held_out)
    elbo = float(loss(p, x, jax.random.normal(for_codes, (len(x), latent)), 1.0))
    nll = float(likelihood(p, x[:500], for_draws).mean())
    return elbo, nll, size, time.time() - began


if __name__ == "__main__":
    print("| variant | epochs | -ELBO | -ln p, 500 draws, 500 images | numbers | s |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for text in sys.argv[1:] or [""]:
        variant = dict(setting.split("=") for setting in text.split(",") if setting)
        elbo, nll, size, seconds = run(variant)
        print(f"| {text} | {variant.get('epochs', BASE['epochs'])} | {elbo:.2f} | {nll:.2f} | {size:,} | {seconds:.0f} |", flush=True)
