"""What came before the multilayer perceptron, each step working: `mlpexp lineage`.

Flow: a neuron, an expression, examples → numbers → finding → figure, CSV, MLflow. The numbers know nothing of the rest.
"""
