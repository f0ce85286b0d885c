package lakescribe;

import io.delta.storage.HDFSLogStore;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Iterator;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * Commits to tables on a disk or a mounted folder, by any number of processes.
 *
 * <p>Delta's own store asks whether a commit's file is there, then renames its own to that name, which on a disk
 * replaces what another process has put there in between: that commit is lost without an error. A hard link is made by
 * one process only.
 */
public class LinkedLogStore extends HDFSLogStore {
  public LinkedLogStore(Configuration conf) {
    super(conf);
  }

  @Override
  public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration conf) throws IOException {
    if (overwrite) {
      super.write(path, actions, true, conf);
      return;
    }
    java.nio.file.Path commit = Paths.get(path.toUri().getPath());
    java.nio.file.Path own = commit.resolveSibling("." + commit.getFileName() + "." + UUID.randomUUID() + ".tmp");
    try {
      Files.write(own, (Iterable<String>) () -> actions, StandardCharsets.UTF_8);
      Files.createLink(commit, own);
    } catch (FileAlreadyExistsException taken) {
      throw taken; // what Delta expects of a version that another has written
    } catch (UnsupportedOperationException | FileSystemException noLinks) {
      if (!Files.exists(own)) throw noLinks;
      super.write(path, Files.readAllLines(own, StandardCharsets.UTF_8).iterator(), false, conf);
    } finally {
      Files.deleteIfExists(own);
    }
  }
}
