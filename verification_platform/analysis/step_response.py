"""Step response: how fast and how well damped a drive follows a step.

Delay to 50 %, rise 10 → 90 %, overshoot, peak time, settling to a band, steady error. GB/T 16439-2024 (positioning
settling time 定位整定时间), IEC 61800-4 practice; protocol specification SRV-STEP.
"""
