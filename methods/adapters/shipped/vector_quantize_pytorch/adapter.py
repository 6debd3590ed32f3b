"""The bottlenecks of `vector-quantize-pytorch` in PyTorch, between the encoder and decoder that vqbench trains its own learned methods with.

Equal to ours: rows are standardized, encoder and decoder are affine and start as principal axes, and all is trained together by Adam with the same schedule. What
remains different: the library adds noise nowhere, resets a codeword onto a row and not beside another codeword, keeps usage per batch, and computes the entropy loss
of `lfq` over all codewords of a group at its own temperature. Its random numbers differ. It does not search: vqbench decodes its codes.
"""

import vqbench
import dataclasses, importlib.metadata, math, os, sys, typing
import numpy as np
import torch
import vector_quantize_pytorch as library


@dataclasses.dataclass
class Params:
    quantizer: typing.Literal["vq", "rvq", "fsq", "lfq", "simvq"] = "vq"  # which bottleneck
    codewords: int = 256  # of a codebook of vq, rvq and simvq
    groups: int = 1  # parts of a latent, each with a codebook of its own
    stages: int = 4  # codebooks of rvq, each for what those before leave
    levels: list[int] = dataclasses.field(default_factory=lambda: [8, 6, 5])  # of each component of a group of fsq
    bits: int = 8  # signs of a group of lfq
    beta: float = 0.25  # weight of the commitment loss
    decay: float = 0.99  # of the moving averages of vq and rvq
    reset: float = 0.1  # codewords of vq and rvq used less than this part of even usage are replaced
    rotation_trick: bool = False  # of vq, rvq and simvq, instead of straight-through gradients
    entropy_weight: float = 0.02  # of lfq
    latent: int | None = None  # components of a latent of vq, rvq and simvq; without it at most 128
    epochs: int = 20
    batch: int = 256
    learning_rate: float = 0.005  # at its peak
    device: typing.Literal["cpu", "cuda"] = "cpu"


class Bottlenecks(vqbench.Adapter):
    name, version = "vector-quantize-pytorch", importlib.metadata.version("vector-quantize-pytorch")
    licence, seedable, capabilities, metrics = "MIT", True, ["encode", "decode", "save", "restore"], []

    def __init__(self, params, threads, dim):
        super().__init__(params, threads, dim)
        symbols = {"rvq": params.stages}.get(params.quantizer, 1) * params.groups
        size = {"fsq": math.prod(params.levels), "lfq": 2**params.bits}.get(params.quantizer, params.codewords)
        for name, value, least, most in (("groups", params.groups, 1, 4096), ("codewords", size, 2, 65536), ("epochs", params.epochs, 1, 10**4), ("batch", params.batch, 1, 10**6)):
            if not least <= value <= most:
                raise vqbench.Wrong(name, f"`{name}` must be {least} to {most}, not {value}")
        if params.latent is not None and params.latent % params.groups:
            raise vqbench.Wrong("latent", f"`latent` must be a multiple of groups={params.groups}")
        if params.device == "cuda":
            if not torch.cuda.is_available():
                raise vqbench.Wrong("device", "PyTorch finds no GPU here: use `device: cpu`")
            self.device = torch.cuda.get_device_name()
        self.width = max(1, math.ceil(math.log2(size)))
        self.code_bytes = math.ceil(symbols * self.width / 8)

    def use_threads(self, threads):
        torch.set_num_threads(threads)

    def wait(self):
        if self.params.device == "cuda":
            torch.cuda.synchronize()

    def make(self, dim):
        """Encoder, one bottleneck for each group, decoder, mean and scale, without values."""
        p = self.params
        fixed = {"fsq": len(p.levels), "lfq": p.bits}.get(p.quantizer)
        latent = fixed * p.groups if fixed else p.latent or max(min(dim, 128) // p.groups, 1) * p.groups
        part = latent // p.groups
        moving = dict(codebook_size=p.codewords, decay=p.decay, kmeans_init=True, commitment_weight=p.beta, rotation_trick=p.rotation_trick,
                      threshold_ema_dead_code=p.reset * p.batch / p.codewords)  # fmt: skip
        kinds = {
            "vq": lambda: library.VectorQuantize(part, **moving),
            "rvq": lambda: library.ResidualVQ(dim=part, num_quantizers=p.stages, **moving),
            "fsq": lambda: library.FSQ(p.levels),
            "lfq": lambda: library.LFQ(codebook_size=2**p.bits, entropy_loss_weight=p.entropy_weight, commitment_loss_weight=p.beta),
            "simvq": lambda: library.SimVQ(part, p.codewords, rotation_trick=p.rotation_trick, input_to_quantize_commit_loss_weight=p.beta),
        }
        self.model = torch.nn.ModuleDict({"encoder": torch.nn.Linear(dim, latent), "decoder": torch.nn.Linear(latent, dim)})
        self.model["groups"] = torch.nn.ModuleList(kinds[p.quantizer]() for _ in range(p.groups))
        self.model.register_buffer("mean", torch.zeros(dim))
        self.model.register_buffer("scale", torch.ones(()))
        self.model.to(p.device)

    def quantize(self, latents):
        """Quantized latents, symbols of each group, and the loss of the bottlenecks."""
        parts = latents[None].chunk(self.params.groups, dim=2)
        found = [group(part) for group, part in zip(self.model["groups"], parts)]
        loss = sum(torch.as_tensor(one[2]).float().sum() for one in found if len(one) > 2) / self.params.groups
        return torch.cat([one[0][0] for one in found], 1), [one[1][0] for one in found], loss

    def start(self, rows):
        """Encoder and decoder as principal axes, codebooks from all latents."""
        p, encoder, decoder = self.params, self.model["encoder"], self.model["decoder"]
        values, axes = torch.linalg.eigh(torch.cov(rows.T.double(), correction=0))
        deviations, axes, latent = values.flip(0).clamp(min=0).sqrt().float(), axes.flip(1).float(), encoder.out_features
        # Axes go to the group with free places whose product of variances is smallest.
        groups, products = [[] for _ in range(p.groups)], np.zeros(p.groups)
        for axis in range(latent):
            open_groups = [g for g in range(p.groups) if len(groups[g]) < latent // p.groups]
            least = min(open_groups, key=lambda g: products[g])
            groups[least].append(axis % len(deviations))
            products[least] += math.log(max(float(deviations[axis % len(deviations)] / deviations[:latent].min().clamp(min=1e-6)), 1.0))
        even = {"fsq": 0.9069, "lfq": 1.0}.get(p.quantizer)
        numbers = torch.tensor(sum(groups, []) if even is None else [axis % len(deviations) for axis in range(latent)], device=rows.device)
        copies = torch.bincount(numbers)[numbers]
        stretch = torch.ones_like(deviations)[numbers] if even is None or deviations[0] == 0 else even / deviations[numbers].clamp(min=1e-6 * float(deviations[0]))
        encoder.weight.copy_((axes[:, numbers] + 0.05 * (torch.rand(len(axes), latent, device=rows.device) - 0.5) * (copies > 1)).T * stretch[:, None])
        decoder.weight.copy_(axes[:, numbers] / (stretch * copies))
        encoder.bias.zero_()
        decoder.bias.zero_()
        if p.quantizer == "fsq":
            shift = [-math.atanh(0.5 / ((level - 1) * 1.001 / 2)) if level % 2 == 0 else 0.0 for level in p.levels]
            encoder.bias.copy_(torch.tensor(shift * p.groups))
        latents = encoder(rows)
        if p.quantizer == "simvq":
            for group, part in zip(self.model["groups"], latents.chunk(p.groups, dim=1)):
                group.code_transform.weight.copy_(torch.diag(part.square().mean(0).sqrt() * part.shape[1] ** 0.5))
        quantized = self.quantize(latents)[0]
        if even is not None:  # their values have a size of their own: the gain of each component by least squares
            centred, mean = latents - latents.mean(0), quantized.mean(0)
            gain = (centred * (quantized - mean)).mean(0) / (quantized - mean).square().mean(0).clamp(min=1e-12)
            decoder.bias.copy_(decoder.weight @ (latents.mean(0) - encoder.bias - gain * mean))
            decoder.weight.mul_(gain)

    def fit(self, rows, seed, metric):
        p = self.params
        torch.manual_seed(seed % 2**63)
        self.make(rows.shape[1])
        rows = torch.from_numpy(rows).to(p.device)
        self.model.mean.copy_(rows.mean(0))
        self.model.scale.copy_((rows - self.model.mean).square().mean().sqrt().clamp(min=1e-30))
        rows = (rows - self.model.mean) / self.model.scale
        with torch.no_grad():
            self.model.train()
            self.start(rows)
        adam = torch.optim.Adam(self.model.parameters(), lr=p.learning_rate, betas=(0.9, 0.99))
        steps, step = p.epochs * math.ceil(len(rows) / p.batch), 0
        warm = math.ceil(0.05 * steps)
        for _ in range(p.epochs):
            for batch in torch.randperm(len(rows), device=rows.device).split(p.batch):
                fall = 0.5 * (1 + math.cos(math.pi * max(step - warm, 0) / max(steps - warm, 1)))
                adam.param_groups[0]["lr"] = p.learning_rate * ((step + 1) / warm if step < warm else 0.01 + 0.99 * fall)
                quantized, _, loss = self.quantize(self.model["encoder"](rows[batch]))
                loss = loss + torch.nn.functional.mse_loss(self.model["decoder"](quantized), rows[batch])
                adam.zero_grad()
                loss.backward()
                adam.step()
                step += 1
        self.model.eval()

    @torch.inference_mode()
    def encode(self, rows):
        codes = []
        for start in range(0, len(rows), 4096):
            block = (torch.from_numpy(rows[start : start + 4096]).to(self.params.device) - self.model.mean) / self.model.scale
            symbols = torch.cat([one.reshape(len(block), -1) for one in self.quantize(self.model["encoder"](block))[1]], 1)
            bits = symbols[:, :, None].cpu().numpy() >> np.arange(self.width) & 1
            codes.append(np.packbits(bits.reshape(len(block), -1).astype("u1"), axis=1))
        return np.concatenate(codes)

    @torch.inference_mode()
    def decode(self, codes):
        p, rows = self.params, []
        stages = p.stages if p.quantizer == "rvq" else 1
        for start in range(0, len(codes), 4096):
            bits = np.unpackbits(codes[start : start + 4096], axis=1, count=p.groups * stages * self.width)
            symbols = bits.reshape(len(bits), p.groups, stages, self.width) @ (1 << np.arange(self.width))
            parts = torch.from_numpy(symbols if p.quantizer == "rvq" else symbols[:, :, 0]).to(p.device)
            of_group = lambda group: getattr(group, "get_output_from_indices", None) or group.indices_to_codes
            latents = torch.cat([of_group(group)(parts[:, g][None])[0] for g, group in enumerate(self.model["groups"])], 1)
            rows.append((self.model["decoder"](latents) * self.model.scale + self.model.mean).cpu().numpy())
        return np.concatenate(rows)

    def save(self, path):
        torch.save(self.model.state_dict(), path)

    def restore(self, path, metric):
        state = torch.load(path, map_location=self.params.device, weights_only=True)
        self.make(len(state["mean"]))
        self.model.load_state_dict(state)
        self.model.eval()


vqbench.serve(Bottlenecks, Params)
sys.stdout.flush()
os._exit(0)  # unloading PyTorch takes a second of processor time: on a busy machine more than the 10 s that an adapter has for its end
