"""The step from the actor's face to the target's: identity, expression and fusion.

The actor's landmarks come in; the target's landmarks, with the actor's expression, go out.
"""
