"""What Litestar finds out about the functions of an app, once for all apps of a process.

That is half of the time to make an app, and more for the first one. Each service makes the same
functions again, around other parts, which Litestar does not look at.
"""

from types import FunctionType, SimpleNamespace

from litestar._kwargs.kwargs_model import KwargsModel
from litestar._signature import SignatureModel
from litestar.params import ParameterKwarg
from litestar.router import Router
from litestar.utils.signature import ParsedSignature

_parse = ParsedSignature.from_fn
_create_signature = SignatureModel.create
_create_kwargs = KwargsModel.create_for_signature_model

_handlers_by_path = Router.route_handler_method_map.fget

#: The last router that was asked, its routes then, and their map.
_LAST = None, [], {}
#: By code: what else the signature comes from, and the signature.
_SIGNATURES = {}
#: By the id of a signature or of a model, which the value keeps.
_SIGNATURE_MODELS, _KWARGS_MODELS = {}, {}


def _parsed(fn, signature_namespace):
    if not isinstance(fn, FunctionType):
        return _parse(fn, signature_namespace)
    origin = fn.__annotations__, fn.__defaults__, fn.__kwdefaults__, signature_namespace
    known, signature = _SIGNATURES.get(fn.__code__, (None, None))
    if known != origin:
        signature = _parse(fn, signature_namespace)
        _SIGNATURES[fn.__code__] = origin, signature
    return signature


def _signature_model(dependency_name_set, fn, parsed_signature, type_decoders, data_dto=None):
    # Litestar makes the second part of each decoder again for each app.
    decoded = tuple(predicate for predicate, _ in type_decoders)
    key = id(parsed_signature), frozenset(dependency_name_set), decoded, data_dto
    if key not in _SIGNATURE_MODELS:
        model = _create_signature(
            dependency_name_set, fn, parsed_signature, type_decoders, data_dto
        )
        _SIGNATURE_MODELS[key] = model, parsed_signature
    return _SIGNATURE_MODELS[key][0]


def _kwargs_model(*, signature_model, path_parameters, dependencies, layered_parameters, **others):
    def create():
        return _create_kwargs(
            signature_model=signature_model,
            path_parameters=path_parameters,
            dependencies=dependencies,
            layered_parameters=layered_parameters,
            **others,
        )

    if dependencies or layered_parameters:
        return create()
    key = id(signature_model), frozenset(path_parameters)
    if key not in _KWARGS_MODELS:
        _KWARGS_MODELS[key] = create(), signature_model
    return _KWARGS_MODELS[key][0]


def _method_map(router):
    """Litestar asks for it before it adds each route."""
    global _LAST  # noqa: PLW0603 - what is remembered belongs to the process
    last, known, handlers = _LAST
    routes = router.routes
    if last is router and known == routes[:-1]:
        handlers = handlers | _handlers_by_path(SimpleNamespace(routes=routes[-1:]))
    elif last is not router or known != routes:
        handlers = _handlers_by_path(router)
    _LAST = router, list(routes), handlers
    return handlers


def _hash_of_parameter(parameter):
    """Python hashes it where an annotation names it. Litestar takes the names of its fields only.

    Those of a class are the same for all its parameters, and Litestar copies each parameter first.
    """
    return hash(type(parameter))


def remember():
    """Remember it from now on."""
    ParameterKwarg.__hash__ = _hash_of_parameter
    ParsedSignature.from_fn = staticmethod(_parsed)
    SignatureModel.create = staticmethod(_signature_model)
    KwargsModel.create_for_signature_model = staticmethod(_kwargs_model)
    Router.route_handler_method_map = property(_method_map)
