"""Camera characteristics of EMVA 1288: noise, gain, saturation and non-uniformity from sums over pixels.

EMVA 1288 Release 4.0 Linear (2021); protocol specification SEN-CAM.
"""
