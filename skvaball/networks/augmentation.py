"""Random changes of training images, on whole batches of tensors."""

import torch
from torch.nn import functional as F

#: Pixels by which a crop may be off the centre (He et al. 2016, for 32 x 32 images).
PADDING = 4


def crop_flip(images: torch.Tensor, padding: int = PADDING) -> torch.Tensor:
    """Shift each image at random, and flip it horizontally with probability 1/2.

    The augmentation that He et al. [1]_ train with: an image is padded with zeros on all
    sides, and a crop of its own size is taken. Each image has an offset and a flip of its
    own, drawn from the global torch generator of the images' device.

    Parameters
    ----------
    images : torch.Tensor of shape (n, channels, height, width)
        Standardized images, so that the zeros around them are the mean of a channel.
    padding : int, default=4
        Zeros on each side; an image moves by at most so many pixels.

    Returns
    -------
    torch.Tensor of the same shape

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren and J. Sun. "Deep residual learning for image
       recognition". CVPR 2016, section 4.2.

    Examples
    --------
    >>> import torch
    >>> from skvaball.networks import crop_flip
    >>> crop_flip(torch.ones(8, 3, 32, 32)).shape
    torch.Size([8, 3, 32, 32])
    """
    n, _, height, width = images.shape
    device = images.device
    tops = torch.randint(2 * padding + 1, (n,), device=device)
    lefts = torch.randint(2 * padding + 1, (n,), device=device)
    flipped = torch.rand(n, device=device) < 0.5
    # A view of every possible crop, of which one per image is copied.
    crops = F.pad(images, [padding] * 4).unfold(2, height, 1).unfold(3, width, 1)
    chosen = crops[torch.arange(n, device=device), :, tops, lefts]
    return torch.where(flipped[:, None, None, None], chosen.flip(3), chosen)
