"""What answers are worth: scores of a sweep's points, compared so that chance is not taken for progress."""
