"""Where musubi-tuner lists its cache files, in whatever order the folder gives them."""


class Folder:
    """Stands for the module `glob`."""

    def glob(self, pathname: str) -> list[str]:
        return [pathname.replace("*", name) for name in ("b", "c", "a")]


glob = Folder()
