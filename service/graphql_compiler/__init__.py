"""GraphQL selections compiled to Python functions, for schemas made with Strawberry. Depends on nothing else here.

graphql-core walks a selection anew for every object: it looks up the field, builds an info and a path, calls a resolver
through several wrappers and asks of each value whether it is awaitable. `CompilingExecutor` is that executor, but where
it would walk the fields of an object it calls a function that was generated once for the selection, from the schema's
own field definitions. Root fields, arguments, variables, directives and merging stay graphql-core's, so do errors: what
a generated function cannot complete by itself it hands to the executor. Data and errors are the same on both roads.

Not compiled, and left to graphql-core: selections with fields whose resolver is asynchronous or that have extensions
(permission classes are such), `@defer` and `@stream`, and whatever is selected less often than a compilation is worth.

One promise is narrower: a resolver below a root field gets an `info` that is shared by all objects of its list, with no
`path`, and instances of input types that are shared in the same way.
"""

from service.graphql_compiler.executor import CompilingExecutor, compiling
from service.graphql_compiler.inline import Inline, inline, inlined
from service.graphql_compiler.programs import Programs, Road
from service.graphql_compiler.selection import by_selection

__all__ = ["CompilingExecutor", "Inline", "Programs", "Road", "by_selection", "compiling", "inline", "inlined"]
