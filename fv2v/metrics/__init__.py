"""How good a model is: the paper's protocols (Sec. 4), on drawn heads of which all is known, and on clips.

scenes      heads.py, clips.py     a source, what drives it, and the true pictures where they are known
pictures    protocols.py           what a model shows of a scene; what it shows by true keypoints
numbers     scores.py              means over pictures.py (L1, PSNR, SSIM, MS-SSIM), fid.py, landmarks.py
                                   (AKD), identity.py (CSIM); the yaw check; errors of pose and keypoints
all of it   evaluation.py          a model beside its two controls
for people  report.py, sheet.py    JSON, tables and a contact sheet; files.py is `fv2v evaluate`
"""

from fv2v.metrics.akd import akd
from fv2v.metrics.clips import Clips
from fv2v.metrics.csim import csim
from fv2v.metrics.evaluate import JudgeFiles, measure
from fv2v.metrics.evaluation import Evaluation, Results, evaluate
from fv2v.metrics.fid import FeatureStatistics, FrechetDistance, frechet_distance
from fv2v.metrics.held_out import HeldOut
from fv2v.metrics.pictures import gradient_distance, l1, ms_ssim, psnr, ssim
from fv2v.metrics.protocols import Scene
from fv2v.metrics.report import Report
from fv2v.metrics.scores import Judges

__all__ = [
    "Clips",
    "Evaluation",
    "FeatureStatistics",
    "FrechetDistance",
    "HeldOut",
    "JudgeFiles",
    "Judges",
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
