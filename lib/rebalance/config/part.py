"""What every definition of options is made of: `Options`, a mapping, and `Part`, one with a name.

A **kind** is a class that says what it is a kind of (``noun``); a **part** is a class below it that
has a ``name``. An annotation with a kind stands for all of its parts, told apart by ``name``::

    class SigmoidLoss(Part, noun="sigmoid loss"):
        '''Classification, one logit at a time.'''

    class Focal(SigmoidLoss, name="focal", makes="rebalance.losses.classification:focal_loss"):
        '''Focal loss (Lin et al., ICCV 2017; thesis Eq. 3.2).'''

        gamma: NonNegative = 2.0
        '''0 is cross-entropy.'''

The string below an option documents it. A test compares options and defaults with the signature of
what the part ``makes``. ``rebalance.config.options`` says how to add one.
"""

import difflib
import inspect
import types
from collections.abc import Iterable, Mapping
from functools import cache, partial
from importlib import import_module
from typing import Any, ClassVar, Literal, Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from rebalance.config.docstrings import option_docs

PARTS: list[type["Part"]] = []
"""Every part, in the order of definition."""


class Options(BaseModel):
    """A mapping with known keys: unknown ones, numbers in quotes, nan and inf are refused."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        defer_build=True,  # most runs need a few of the parts
        serialize_by_alias=True,
        protected_namespaces=(),
    )

    @classmethod
    def keys(cls) -> list[str]:
        """Keys as they are written in YAML."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, data: Any) -> Any:
        """An unknown key is refused before anything else, with the keys that there are."""
        if isinstance(data, Mapping):
            known = cls.keys()
            for key in data:
                if key not in known:
                    raise refusal(
                        f"unknown key {key!r}{nearest(key, known)}; {cls._whose()}: "
                        + (", ".join(known) or "none"),
                        at=(key,),
                    )
        return data

    @classmethod
    def _whose(cls) -> str:
        return "allowed"

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The schema with the documentation of each option, for editors."""
        made = handler(schema)
        definition = handler.resolve_ref_schema(made)
        for key, doc in option_docs(cls).items():
            field = cls.model_fields[key]
            definition.get("properties", {}).get(field.alias or key, {})["description"] = doc
        return made


class Part(Options):
    """Options with a name, or (without a name of its own) the kind that such options are of.

    Class keywords:
        noun: of a kind: what it is called in messages.
        tag: of a kind: the key that tells its parts apart.
        given: of a kind or part: parameters with a default that are passed by the library, not by
            settings; parameters without default always are.
        name: of a part.
        makes: of a part: ``module:attribute`` of the callable that its options are for.
    """

    noun: ClassVar[str] = "part"
    tag: ClassVar[str] = "name"
    given: ClassVar[frozenset[str]] = frozenset()
    called: ClassVar[str | None] = None
    makes: ClassVar[str | None] = None

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        makes: str | None = None,
        noun: str | None = None,
        tag: str | None = None,
        given: Iterable[str] = (),
        **config: Any,
    ) -> None:
        """See the class."""
        super().__init_subclass__(**config)
        cls.noun, cls.tag = noun or cls.noun, tag or cls.tag
        cls.given = cls.given | frozenset(given)
        # The tag is a field like the others. A kind has it, too, so that it comes first.
        own = inspect.get_annotations(cls)
        if noun is not None:
            cls.__annotations__ = {cls.tag: str, **own}
        if name is not None:
            cls.called, cls.makes = name, makes
            cls.__annotations__ = {cls.tag: Literal[name], **own}
            setattr(cls, cls.tag, name)
            PARTS.append(cls)

    @classmethod
    def parts(cls) -> dict[str, type[Self]]:
        """The parts of this kind by name, in the order of definition.

        Raises:
            TypeError: two of them have the same name.
        """
        found: dict[str, type[Self]] = {}
        for part in PARTS:
            if issubclass(part, cls) and part.called is not None:
                if part.called in found:
                    raise TypeError(f"two parts of kind {cls.noun!r} are called {part.called!r}")
                found[part.called] = part
        return found

    @classmethod
    def options(cls) -> list[str]:
        """Names of the options, without the tag."""
        return [name for name in cls.model_fields if name != cls.tag]

    def bind(self) -> partial[Any]:
        """What the part ``makes``, with these options as keywords."""
        return partial(self.load(), **self.arguments())

    def arguments(self) -> dict[str, Any]:
        """Options as what the part ``makes`` takes them: parts among them are bound."""
        options = {name: getattr(self, name) for name in self.options()}
        return {
            name: option.bind() if isinstance(option, Part) else option
            for name, option in options.items()
        }

    @classmethod
    def load(cls) -> Any:
        """The callable that these options are for; imports its module (and with it torch).

        Raises:
            TypeError: the part is made by its surroundings, not by a callable of its own.
        """
        if cls.makes is None:
            raise TypeError(f"{cls.noun} {cls.called!r} has no callable of its own")
        return imported(cls.makes)

    @classmethod
    def code(cls) -> list[str]:
        """``module:attribute`` of everything in the library that a run uses by naming this part."""
        return [] if cls.makes is None else [cls.makes]

    @classmethod
    def _whose(cls) -> str:
        return f"{cls.noun} {cls.called!r} has"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Of a part: its own; of a kind: that of all its parts, told apart by their tag."""
        if cls.called is not None:
            return handler(source)
        return _one_of(cls, cls.parts(), handler)


class Also:
    """In an annotation with a kind: its parts take the keys of these options, too.

    ``Annotated[BoxLoss, Also(Term)]``: a loss as it is written in an objective, with its weight.
    """

    def __init__(self, options: type[Options]) -> None:
        self.options = options

    def __get_pydantic_core_schema__(
        self, source: type[Part], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """The union of the extended parts."""
        parts = {name: extended(part, self.options) for name, part in source.parts().items()}
        return _one_of(source, parts, handler)


class OrName:
    """In an annotation with a kind: a name alone stands for the part with its defaults."""

    def __get_pydantic_core_schema__(
        self, source: type[Part], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """The kind, behind a step that spells the name out."""

        def spell_out(data: Any) -> Any:
            return {source.tag: data} if isinstance(data, str) else data

        return core_schema.no_info_before_validator_function(spell_out, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """A part, or text."""
        return {"anyOf": [handler(schema), {"type": "string"}]}


class DefaultPart:
    """In an annotation with a kind: a mapping without a name is of this part."""

    def __init__(self, part: type[Part]) -> None:
        self.part = part

    def __get_pydantic_core_schema__(
        self, source: type[Part], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """The kind, behind a step that adds the name."""

        def add_name(data: Any) -> Any:
            if isinstance(data, Mapping) and source.tag not in data:
                return {source.tag: self.part.called, **data}
            return data

        return core_schema.no_info_before_validator_function(add_name, handler(source))


class Described:
    """In an annotation: what editors are told of a mapping that is checked later, by its form."""

    def __init__(self, *forms: type[BaseModel]) -> None:
        self.forms = forms

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Any of the forms."""
        for form in self.forms:
            form.model_rebuild()
        return {"anyOf": [handler(form.__pydantic_core_schema__) for form in self.forms]}


@cache
def extended(part: type[Part], options: type[Options]) -> type[Part]:
    """``part`` with the keys of ``options`` behind its own."""
    name = f"{part.__name__}{options.__name__}"
    extras = {
        "__doc__": part.__doc__,
        "__module__": __name__,
        "__reduce__": lambda self: (_new_extended, (part, options), self.__getstate__()),
    }
    return cast(
        "type[Part]",
        types.new_class(name, (options, part), exec_body=lambda body: body.update(extras)),
    )


def _new_extended(part: type[Part], options: type[Options]) -> Part:
    """An empty instance, for what was pickled: the class has no name in any module."""
    cls = extended(part, options)
    return cls.__new__(cls)


def _one_of(
    kind: type[Part], parts: Mapping[str, type[Part]], handler: GetCoreSchemaHandler
) -> CoreSchema:
    def check_name(data: Any) -> Any:
        if isinstance(data, Part):
            return data
        one_of = f"must be one of {', '.join(parts)}"
        if not isinstance(data, Mapping):
            raise refusal(
                f"must be a mapping with a {kind.tag} ({kind.noun}: {', '.join(parts)}), "
                f"got {data!r}{nearest(data, parts)}"
            )
        if kind.tag not in data:
            raise refusal(f"missing key {kind.tag!r}: {kind.noun} {one_of}")
        name = data[kind.tag]
        if not isinstance(name, str) or name not in parts:
            raise refusal(
                f"{kind.noun} {one_of}, got {name!r}{nearest(name, parts) or _other_kind(name)}",
                at=(kind.tag,),
            )
        return data

    def choice(data: Any) -> str:
        return f"<{data.called if isinstance(data, Part) else data[kind.tag]}>"

    choices = {f"<{name}>": handler.generate_schema(part) for name, part in parts.items()}
    union = core_schema.tagged_union_schema(choices, choice)
    return core_schema.no_info_before_validator_function(check_name, union)


def _other_kind(name: Any) -> str:
    """A hint for a name that would be right elsewhere."""
    nouns = [part.noun for part in PARTS if part.called == name and name is not None]
    return f" (which is a {nouns[0]})" if nouns else ""


def imported(code: str) -> Any:
    """What ``module:attribute`` names."""
    module, _, attribute = code.partition(":")
    return getattr(import_module(module), attribute)


def nearest(name: Any, known: Iterable[str]) -> str:
    """``" (did you mean 'giou'?)"``, or nothing when no known name is near."""
    found = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def refusal(problem: str, at: tuple[str | int, ...] = ()) -> PydanticCustomError:
    """What a rule of one or more options raises.

    Args:
        problem: what was got and what is allowed.
        at: keys from the options that have the rule to the one that is to blame.
    """
    return PydanticCustomError("refused", "{problem}", {"problem": problem, "at": at})


def section(default: Any = None, **settings: Any) -> Any:
    """A field for what may be left out, and is then left out of the resolved settings, too."""
    return Field(default, exclude_if=lambda value: value is None, **settings)
