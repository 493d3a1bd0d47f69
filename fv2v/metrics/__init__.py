# SPDX-License-Identifier: Apache-2.0
"""How good a model is: the paper's protocols (Sec. 4), on drawn heads with their exact truth, and on clips.

scenes      held_out.py, clips.py   a source, frames that drive it, and the true pictures where there are any
pictures    protocols.py            a model's output for a scene, by estimated and by true keypoints
numbers     scores.py               means of pictures.py (L1, PSNR, SSIM, MS-SSIM), lpips.py, fid.py, akd.py,
                                    csim.py; the yaw check; errors of pose and keypoints
evaluation  evaluation.py           a model beside its two controls
output      report.py, sheet.py     JSON, tables and a contact sheet; html.py: all on a page; evaluate.py is
                                    `fv2v evaluate`
"""

from fv2v.metrics.akd import akd
from fv2v.metrics.clips import Clips
from fv2v.metrics.csim import csim
from fv2v.metrics.evaluate import MetricNetworkFiles, measure
from fv2v.metrics.evaluation import Evaluation, Results, evaluate
from fv2v.metrics.fid import FeatureStatistics, FrechetDistance, frechet_distance
from fv2v.metrics.held_out import HeldOut
from fv2v.metrics.pictures import gradient_distance, l1, ms_ssim, psnr, ssim
from fv2v.metrics.protocols import Scene
from fv2v.metrics.report import Report
from fv2v.metrics.scores import MetricNetworks

__all__ = [
    "Clips",
    "Evaluation",
    "FeatureStatistics",
    "FrechetDistance",
    "HeldOut",
    "MetricNetworkFiles",
    "MetricNetworks",
    "Report",
    "Results",
    "Scene",
    "akd",
    "csim",
    "evaluate",
    "frechet_distance",
    "gradient_distance",
    "l1",
    "measure",
    "ms_ssim",
    "psnr",
    "ssim",
]
