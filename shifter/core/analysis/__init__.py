"""The analysis: from counted requests to a verdict. How sure is it that the target is worse, and how far may a step go?

measures     what is compared, and by which margins        hypotheses   one question, and one tick's counts
learning     what is known of the source before a step     sickness     is the source itself in trouble?
sequential   the bets: odds against the target, bounds     standing     what all ticks of an attempt amount to
guards       what counts at once, without odds             steps        what a step may cost
climbing     may the next step be taken?                   assess       the verdict, in words
replay       computing a decision again                    verdicts     what an assessment consists of
"""
