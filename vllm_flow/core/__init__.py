"""The core: values, registry, ports, pipelines, the runner and the record. It knows neither Hydra nor torch."""
