"""Train a small network that finds the 21 keypoints of a hand, to see that shards are fit to train on.

    python scripts/examples/05_train.py [OUT] [EPOCHS]

Reads OUT/shards of example 04. Prints the loss of every epoch, which falls: the mean distance of visible keypoints from
the truth.
"""

import sys
from pathlib import Path

import torch
from torch import nn

import handgen


def main(out: Path, epochs: int = 6) -> None:
    """Train on a shards directory."""
    torch.manual_seed(0)
    # Each sample once an epoch, whatever the number of ranks and DataLoader workers; see docs/reading.md.
    dataset = handgen.load_shards(out / "shards", batch_size=16, shuffle=True)
    widths = (3, 16, 32, 64, 96, 128)
    blocks = [
        nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())
        for a, b in zip(widths, widths[1:], strict=False)
    ]
    model = nn.Sequential(nn.AdaptiveAvgPool2d(128), *blocks, nn.Flatten(), nn.Linear(128 * 4 * 4, 42))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(epochs):
        dataset.set_epoch(epoch)
        losses = []
        for batch in dataset:
            size = batch["image"].shape[-1]
            target = batch["keypoints_2d"] / size - 0.5
            predicted = model(batch["image"] / 255 - 0.5).reshape(-1, 21, 2)
            distance = (predicted - target).norm(dim=-1)[batch["visible"]]
            loss = distance.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        mean = sum(losses) / len(losses)
        print(f"epoch {epoch + 1}: loss {mean:.4f}, mean error {size * mean:.1f} px", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example_out"), *map(int, sys.argv[2:3]))
