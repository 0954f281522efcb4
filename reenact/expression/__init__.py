"""The step from the actor's face to the target's: who the actor is, what the actor does, fusion.

The actor's landmarks come in; the target's landmarks, with the actor's expression, go out.
"""
