"""Tencent Cloud: the only folder that knows its SDK, its error codes and its JSON.

sdk.py           the SDK itself: one client, and what its exceptions hide; imported lazily
credentials.py   keys in files
api.py           one call: paced, bounded, its errors translated
clb_decoding.py  pure: answers of the CLB API become values
clb.py           the provider port on top of the three
"""
