"""Deep transfer learning on radiographs: backbones, their weights, frozen features and fine-tuning. Arrays in, arrays out."""
