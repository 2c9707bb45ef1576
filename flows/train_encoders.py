"""Prefect flow: Train the encoders of a study that are not trained yet."""

from flows.flow_parts import job_flow

train_encoders = job_flow("train", "train-encoders", "Train the encoders of a study that are not trained yet.")
