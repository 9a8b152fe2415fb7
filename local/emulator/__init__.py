"""The emulated organization's server: ministack, corrected, and the AWS parts it lacks.

See docs/emulator.md for what is here, how close it is to AWS, and the control plane.
"""
