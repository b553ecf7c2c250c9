"""What was counted: raw readings, how they become counts, and which answers count as failures.

Here belongs what makes numbers of the gateways' counters: differences between two reads, pods that come, go and start
anew, the ledger of a share, and a policy's rule of what is a failure, as far as counting needs it.

Not here:

- what the numbers mean, or how sure that is: `analysis`;
- what a person may write of failures and margins: `documents`;
- PromQL, HTTP and time limits: `adapters`; when somebody looks: the service.

It knows no file, no phase and no decision, and beside `balancing` it is the lowest room: neither needs the other.
"""
