"""Reads tflite networks once, at conversion time, into tensors and a JSON graph that `engine/face/nets.py` executes.

Knows only the operators of the nets in `engine/models.py` and says which other one it meets. Weights are turned into
PyTorch's layout here; float16 constants stay float16. Does not execute anything.
"""

import json
from typing import Any

import numpy as np

# tflite's fused activations, by number.
ACTIVATIONS = {0: "", 1: "relu", 3: "relu6"}


def read_tflites(files: dict[str, bytes]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Several nets as one set of tensors, named "<net>/<number>", and metadata with "graph.<net>" for each net."""
    tensors: dict[str, np.ndarray] = {}
    metadata = {}
    for net, content in files.items():
        graph, constants = read_tflite(content)
        tensors |= {f"{net}/{key}": value for key, value in constants.items()}
        metadata[f"graph.{net}"] = json.dumps(graph, separators=(",", ":"))
    return tensors, metadata


def read_tflite(content: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """(graph, constants) of one net.

    graph: {"input": id, "size": [H, W], "outputs": [id …], "operators": [{"op", "in": [id …], "out": id, …}]}; an id
    that is a key of constants is a weight. Shapes in the graph are NHWC without the batch; `nets` runs NCHW.
    """
    import tflite

    model = tflite.Model.GetRootAs(content, 0)
    net = model.Subgraphs(0)
    names = {value: key for key, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}
    dtypes = {tflite.TensorType.FLOAT32: "<f4", tflite.TensorType.FLOAT16: "<f2", tflite.TensorType.INT32: "<i4"}

    def constant(tensor: int) -> np.ndarray | None:
        described = net.Tensors(tensor)
        data = model.Buffers(described.Buffer()).DataAsNumpy()
        if isinstance(data, int) or data.size == 0:
            return None
        return np.frombuffer(data.tobytes(), dtypes[described.Type()]).reshape(described.ShapeAsNumpy())

    def options(operator: Any, kind: type) -> Any:
        table = operator.BuiltinOptions()
        read = kind()
        read.Init(table.Bytes, table.Pos)
        return read

    renamed: dict[int, int] = {}
    constants: dict[str, np.ndarray] = {}
    operators: list[dict] = []

    def weight(tensor: int, axes: tuple[int, ...] | None = None) -> int:
        source = renamed.get(tensor, tensor)
        value = constant(source)
        if value is None:
            raise ValueError(f"tensor {source} is not a constant")
        if axes is not None:
            value = value.transpose(axes)
        constants[str(source)] = np.ascontiguousarray(value)
        return source

    for number in range(net.OperatorsLength()):
        operator = net.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        if name == "CUSTOM":
            name = code.CustomCode().decode()
        inputs = [int(tensor) for tensor in operator.InputsAsNumpy()]
        output = int(operator.Outputs(0))
        if name == "DEQUANTIZE":
            renamed[output] = inputs[0]
            continue
        step: dict = {"op": name.lower(), "in": inputs, "out": output}
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            deep = name == "DEPTHWISE_CONV_2D"
            chosen = options(operator, tflite.DepthwiseConv2DOptions if deep else tflite.Conv2DOptions)
            if (chosen.DilationHFactor(), chosen.DilationWFactor()) != (1, 1):
                raise ValueError("dilated convolutions are not read")
            kernel = weight(inputs[1], (3, 0, 1, 2) if deep else (0, 3, 1, 2))
            step["in"] = [inputs[0], kernel, weight(inputs[2])]
            step |= _window(chosen)
        elif name in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
            chosen = options(operator, tflite.Pool2DOptions)
            step |= _window(chosen) | {"size": [chosen.FilterHeight(), chosen.FilterWidth()]}
        elif name == "Convolution2DTransposeBias":
            # MediaPipe's own operator. Its options are bare C integers (padding, stride width, stride height).
            padding, across, down = np.frombuffer(operator.CustomOptionsAsNumpy().tobytes()[:12], "<i4").tolist()
            stored = constant(renamed.get(inputs[1], inputs[1]))
            if stored is None or stored.shape[1:3] != (down, across):
                raise ValueError(
                    f"transposed convolution of padding {padding} whose kernel is not its stride is not read"
                )
            step["in"] = [inputs[0], weight(inputs[1], (3, 0, 1, 2)), weight(inputs[2])]
            step |= {"op": "conv_transpose_2d", "stride": [down, across]}
        elif name == "PRELU":
            step["in"] = [inputs[0], weight(inputs[1])]
        elif name == "PAD":
            pads = constant(inputs[1])
            if pads is None:
                raise ValueError("padding that is computed is not read")
            step |= {"in": inputs[:1], "pads": pads[1:].tolist()}
        elif name == "RESHAPE":
            step |= {"in": inputs[:1], "shape": net.Tensors(output).ShapeAsNumpy()[1:].tolist()}
        elif name == "CONCATENATION":
            step["axis"] = options(operator, tflite.ConcatenationOptions).Axis()
        elif name == "RESIZE_BILINEAR":
            chosen = options(operator, tflite.ResizeBilinearOptions)
            if chosen.AlignCorners() or not chosen.HalfPixelCenters():
                raise ValueError("only half-pixel bilinear resizing is read")
            step |= {"in": inputs[:1], "size": net.Tensors(output).ShapeAsNumpy()[1:3].tolist()}
        elif name in ("ADD", "MUL"):
            chosen = options(operator, tflite.AddOptions if name == "ADD" else tflite.MulOptions)
            step["activation"] = ACTIVATIONS[chosen.FusedActivationFunction()]
        elif name not in ("RELU", "LOGISTIC", "HARD_SWISH"):
            raise ValueError(f"the operator {name} is not read")
        operators.append(step)
    source = int(net.Inputs(0))
    graph = {
        "input": source,
        "size": net.Tensors(source).ShapeAsNumpy()[1:3].tolist(),
        "outputs": [int(tensor) for tensor in net.OutputsAsNumpy()],
        "operators": operators,
    }
    return graph, constants


def _window(chosen: Any) -> dict:
    """Stride, padding and activation, which convolutions and pools share."""
    return {
        "stride": [chosen.StrideH(), chosen.StrideW()],
        "same": chosen.Padding() == 0,
        "activation": ACTIVATIONS[chosen.FusedActivationFunction()],
    }
