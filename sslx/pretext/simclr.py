r"""SimCLR: two random views of an image attract, all other images of the batch repel.

    L = NT-Xent(g(f(view1)), g(f(view2))),  temperature tau

Chen, Kornblith, Norouzi, Hinton: A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020,
arXiv 2002.05709. The projection head g is dropped for probing. Views of grey images are not the paper's: affine,
elastic and intensity changes instead of crops and colour (sslx/modalities/views.py). Ours is a small head, AdamW and a
short run by default. What the paper does on ImageNet (batch 4096, LARS at 0.3 * batch / 256, weight decay 1e-6, 10
epochs of warm-up, colours at strength 1, blur), for a folder of photographs:

    python -m experiments.pretrain --method=simclr --dataset=folder:DIR --image_size=64 --encoder=resnet18 \
      --epochs=100 --batch_size=4096 --optimizer=lars --learning_rate=4.8 --pretraining_weight_decay=1e-6 \
      --warmup_epochs=10 --precision=bfloat16 --hp=projector=2048-128 --hp=norm=true --hp=temperature=0.1 \
      --hp=views=photos:crop=0.08,brightness=0.8,contrast=0.8,saturation=0.8,hue=0.2,blur=0.5

Deviations that stay: g reads the whole map, not its mean; no batch normalisation after g's last layer; the jitter's
order is fixed, theirs is drawn; blur is 0.1 to 2 pixels at any size of image. --accumulate saves memory, but an image
then meets the negatives of its part only, and not of 4096.
"""

from sslx import losses, nn
from sslx.pretext.families import checks
from sslx.pretext.families.twins import joint
from sslx.types import Pretext


def simclr(
  encoder: nn.Encoder,
  *,
  temperature: float = 0.2,
  projector: tuple[int, ...] = (256, 128),
  norm: bool = False,
  views: str = "auto",
) -> Pretext:
  """Contrastive learning of two views.

  temperature: tau; the paper has 0.1 on ImageNet and 0.5 on CIFAR-10.
  norm: batch normalisation in g, in front of every relu.
  views: digits or photos with settings, such as digits:degrees=10,elastic=0
    (sslx/modalities/views.py); auto goes by the colours.
  """
  checks.positive(temperature=temperature)
  return joint(encoder, projector, norm, views, lambda z1, z2: losses.nt_xent(z1, z2, temperature))
