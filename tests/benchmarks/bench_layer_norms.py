"""How tight and how fast are the layer norms? The whole of `layer_norms.py`, for `make bench`.

python tests/benchmarks/bench_layer_norms.py [the options of layer_norms.py]
"""

from layer_norms import main

if __name__ == "__main__":
    main()
